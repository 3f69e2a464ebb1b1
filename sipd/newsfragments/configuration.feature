`twistd sipd --check --config FILE` lists every mistake of a configuration in one run.
