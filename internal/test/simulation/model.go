// Package simulation runs very many agents and the vaults that they wait at, in the virtual time of a testing/synctest bubble.
//
// An agent is a few numbers and the code of internal/pace, which the real agent runs; a replica has the real limits of
// vault/limit. What is simulated is the time that operations take: those that were measured (docs/benchmarks.md).
package simulation

import (
	"math"
	"time"

	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// Costs are what operations take.
type Costs struct {
	Handshake time.Duration // of a replica's processor, for a TLS handshake
	Request   time.Duration // of a replica's processor, for a request that finds no change
	Reveal    time.Duration // of a replica's processor, for the rest of a request that reveals
	Read      time.Duration // of the database's processor, for reading the state of a set
	Event     time.Duration // of the database, which writes one audit event after the other
}

// Model is a number of agents, and what serves them.
type Model struct {
	Agents        int
	PerReplica    int    // agents of a replica, as long as all replicas run
	PerDatabase   int    // agents of a database
	Cores         int    // of a replica
	DatabaseCores int    // of a database
	Limits        string // settings of the vaults, as in serve --limit
	Costs         Costs
	Together      bool // every wait takes a minute, as a control
}

// Replicas is the number of replicas of all databases.
func (m *Model) Replicas() int { return m.Databases() * m.ReplicasEach() }

// ReplicasEach is the number of replicas of each database.
func (m *Model) ReplicasEach() int { return divide(divide(m.Agents, m.Databases()), m.PerReplica) }

// Databases is the number of databases, each of which has all data of some tenants.
func (m *Model) Databases() int { return divide(m.Agents, m.PerDatabase) }

// Rate is the number of requests in a second that all replicas can answer if each costs them a certain time.
func (m *Model) Rate(cost time.Duration) float64 {
	return float64(m.Replicas()*m.Cores) / cost.Seconds()
}

// limits are the limits of each vault.
func (m *Model) limits() (v limit.Values, err error) {
	err = v.Set(m.Limits)
	return v, err
}

func divide(a, b int) int { return int(math.Ceil(float64(a) / float64(b))) }
