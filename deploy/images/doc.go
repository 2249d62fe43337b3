// Program images makes container images out of the built programs, as the
// Dockerfile beside it says, bit by bit the same from the same programs: times are
// one given time, files stand in the Dockerfile's order, owners are numbers. It needs
// no container engine and writes archives that `docker load` and `ctr images
// import` read. It understands only what images without a system need (FROM
// scratch, ARG, LABEL, COPY, USER, ENTRYPOINT), and says so of everything else.
package main
