"""The site's side of the road: a site with its unikernel and CI, and what CI publishes."""
