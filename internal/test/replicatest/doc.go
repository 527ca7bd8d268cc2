// Package replicatest runs three vaults on a PostgreSQL database, and makes what they run on fail: it kills, stops and
// restarts the vaults and the database, cuts the links between them, and lets a standby take over. Its tests check what the
// vaults promise meanwhile.
package replicatest
