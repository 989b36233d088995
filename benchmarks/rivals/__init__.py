"""What Parade is measured against."""
