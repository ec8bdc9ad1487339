"""What the site is built with beside MkDocs: pages from files elsewhere in the tree, and links that follow them."""
