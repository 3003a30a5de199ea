"""The HDF5 part of arrays.py."""

import h5py


def make(g):
    pass
