"""The deployment repository, hostile until parsed: where it is, its references, trees and blobs.
Touches it through git alone."""
