# SPDX-License-Identifier: BSD-3-Clause
"""What goes into models.

``loaders``  what a loader is, how many samples it gives, in which order, and how they are called
``inputs``   a batch becomes the call of a model; masks are found in it
``calls``    the same samples for several models
"""
