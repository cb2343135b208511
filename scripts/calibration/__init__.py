"""How often an audit finds planted shortcuts, and how often it sees some where none are."""
