// Package egresstest tests the egress broker with the clients that people use: curl, git, Python, Node, Java, Go, gRPC, WebSockets
// and signed requests to S3 do their work from a network whose only way out is the broker, and nothing there ever has a value.
package egresstest
