"""`python -m functa_store.cli`."""

from functa_store.cli.launch import main

if __name__ == "__main__":
    main()
