"""Names of people: one spelling of each, and which are no person's."""

import re
import unicodedata

ACCOUNTS = frozenset(  # of machines and images: whoever is logged in as one of them has another name
    """admin administrator azureuser codespace coder colab content datahub default developer docker ec2-user guest
    gitpod hub jenkins jovyan jupyter jupyterhub kaggle lab mambauser me nobody notebook opc pi rstudio root runner
    sagemaker-user student studio test ubuntu user username vagrant vscode wsl""".split()
)
NO_NAMES = re.compile(r"(untitled|notebook|submissions?|assignment|homework|hand-?in|solution|final|copy|new)[ _-]?\d*")


def composed(name: str) -> str:
    """The spelling by which names are compared and kept: letters and their accents composed, single spaces."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def folded(name: str) -> str:
    """The same for all spellings that differ in capitals and spaces alone."""
    return composed(composed(name).casefold())


def is_account(name: str) -> bool:
    """Whether a name is that of a machine's account, or a word for a file, and says nothing of who it is."""
    return folded(name) in ACCOUNTS or bool(NO_NAMES.fullmatch(folded(name)))
