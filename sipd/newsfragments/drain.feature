SIGTERM lets calls end while new ones are refused with 503; a second SIGTERM ends them at once.
