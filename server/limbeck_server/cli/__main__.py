"""`python -m limbeck_server.cli`: the same as `limbeck`, for launchers that know only a Python."""

from limbeck_server.cli import main

if __name__ == "__main__":
    main()
