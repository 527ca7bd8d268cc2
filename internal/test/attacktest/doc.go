// Package attacktest attacks a real vault with one tenant, and measures meanwhile how fast another tenant's values are revealed
// and how much memory the vault takes.
//
// An attack is a test TestAttack_NAME, whose loop runs in a process of its own (loops), so that it takes no processor
// time of the victim's client. Other tests open thousands of connections, or have thousands of agents reconnect.
package attacktest
