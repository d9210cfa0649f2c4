"""What people thought of replies: a file a study."""
