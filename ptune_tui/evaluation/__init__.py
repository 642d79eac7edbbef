"""What is made of contenders' answers: scores, intervals, tests, one table. Torch-free."""
