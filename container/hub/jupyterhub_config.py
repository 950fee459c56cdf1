"""Goes to /etc/jupyterhub/jupyterhub_config.py on a hub whose users are users of the system."""

c = get_config()  # noqa: F821  (JupyterHub runs this file with it)
COURSE = "/opt/course"  # the students' copy, with the environment for all
INSTRUCTORS = {"teacher": "/home/teacher/course"}  # user -> their own copy, with solutions/ and its own environment

c.JupyterHub.bind_url = "http://127.0.0.1:8000"  # a web server with TLS stands before it
c.PAMAuthenticator.allow_all = True
c.PAMAuthenticator.open_sessions = False
c.Spawner.default_url = "/lab"
c.Spawner.mem_limit = "3G"  # kept by SystemdSpawner and KubeSpawner, only announced by the local one


def environment(spawner):
    """Each server runs in its user's environment, and so do its terminals and kernels."""
    bin = f"{INSTRUCTORS.get(spawner.user.name, COURSE)}/.venv/bin"
    spawner.cmd = [f"{bin}/jupyterhub-singleuser"]
    spawner.environment = {"PATH": f"{bin}:/usr/local/bin:/usr/bin:/bin", "OMP_NUM_THREADS": "2"}


c.Spawner.pre_spawn_hook = environment
