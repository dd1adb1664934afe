"""What people and programs are shown, as data: this package changes nothing."""
