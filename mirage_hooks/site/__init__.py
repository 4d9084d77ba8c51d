"""The site's side: a site with its unikernel and CI, and what CI publishes. Knows images and how
they lie in a deployment repository, nothing of mirage.yml and of any state; touches the site's
folder and, through GitPython, a clone of its own, which it pushes."""
