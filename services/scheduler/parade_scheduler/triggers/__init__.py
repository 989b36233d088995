"""What starts runs by itself, or lets them go on: schedules, events, concurrency groups."""
