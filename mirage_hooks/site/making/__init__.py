"""A site's repository: what is asked, what is made, what the owner should add."""
