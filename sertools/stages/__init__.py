"""The stages that most recipes share; each imports what it needs when it runs."""
