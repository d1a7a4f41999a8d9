"""What is visible and what a trade costs: bars, costs, execution, features. Knows no strategy."""
