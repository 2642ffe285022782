"""What hostile clients do: functions of a Target, run one at a time in a process of their own."""
