"""What promptstream costs, measured beside its floor and its peers. See README.md for the commands."""
