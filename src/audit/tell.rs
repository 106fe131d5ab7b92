//! Writes down what no move does.
