"""What records look like, and recordings of them."""
