"""The deployment repository, hostile until parsed: where it is, its references, trees and blobs.
Knows what mirage.yml names in it and what was deployed of it; touches it through git alone."""
