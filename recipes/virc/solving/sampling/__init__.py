"""Several samples of one problem: how they are asked for and branch, their grades, and the vote over them."""
