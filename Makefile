# Thin names for cargo commands; README.md lists the commands themselves.

.PHONY: demo test

# Trains a tiny model on Sudoku and solves puzzles with it.
demo:
	cargo run --release -- demo

# All tests; installs a Vulkan driver first where there is none.
test:
	.ci/vulkan
	cargo test --release
