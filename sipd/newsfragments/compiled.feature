`SIPD_COMPILE=1 pip install .` compiles the modules that every message passes.
