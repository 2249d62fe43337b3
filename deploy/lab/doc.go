// Program lab runs the compose lab (deploy/compose). Outside, `lab up` starts the
// containers in their order, attaches the pods and lets them ping, and `lab down`
// takes all of it away; it drives docker-compose or docker compose as a user
// would. Inside the containers it is the part of a container runtime that calls
// CNI plugins (`lab cni`), and the ping of a pod's VPP (`lab ping`). It is no part of
// an installation.
package main
