"""What several folders of tests share: one home for each helper."""
