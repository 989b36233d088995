"""What must happen next and what has happened: workflows and runs. It never talks to agents directly."""
