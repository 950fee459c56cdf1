"""What is made of the lectures for people who do not run them: a site (`site.py`) and slides (`slides.py`).

Both begin with notebooks that were run (`run.py`) and changed so that pages of them need no kernel (`still.py`).
"""
