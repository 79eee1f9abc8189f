# SPDX-License-Identifier: BSD-3-Clause
"""The parts of `StreamingCKA`. Each file imports only those above it.

settings     what a stream computes, and what keeps two streams from being merged
batches      one batch: its layers read and checked, and held against those of the batches before
accumulator  what all that keeps something of batches can do
exact        moments of the features of all pairs of layers, for the value of all samples together
minibatch    sums of HSIC within batches
groups       one of these for each of some groups of samples, for standard errors
saved        the file of a saved stream
"""
