package simulation

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// demand is what a model needs beside what a simulation shows.
type demand struct {
	AgentMemory float64 // bytes of a replica, for each waiting agent
	EventBytes  float64 // of a database's disk, for each audit event
	Connections int     // to a database, of each replica
	Request     int     // bytes of a request
	Answer      int     // bytes of an answer with a set
	Rotations   int     // in a day, of a secret that all agents have: an assumption

	// Prices, in any currency: assumptions.
	Core, Gigabyte, Stored float64 // of a virtual processor and a GB of memory for an hour, of a GB on a disk for a month
}

// demanded are the demands of a million agents.
var demanded = demand{
	AgentMemory: 48e3, EventBytes: 650, Connections: 10, Request: 2200, Answer: 2500,
	Rotations: 4, Core: 0.04, Gigabyte: 0.005, Stored: 0.1,
}

const (
	replicaBase     = 60e6 // bytes of a replica without agents
	databaseMemory  = 32.0 // GB
	daysKept        = 90   // of audit events
	hoursOfMonth    = 730.0
	secondsADay     = 86400
	longestRecovery = 2 * time.Minute
	defaultServer   = 100 // connections of PostgreSQL
)

// rows are the rows of a table.
func rows(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "| %s | %s |\n", pairs[i], pairs[i+1])
	}
	return b.String()
}

// millis formats a cost.
func millis(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }

// about formats a number without more digits than it deserves.
func about(f float64) string {
	if f >= 1000 {
		unit := math.Pow(10, math.Floor(math.Log10(f))-2)
		return grouped(int(math.Round(f/unit) * unit))
	}
	return fmt.Sprintf("%.3g", f)
}

// parameters is the table of what the arithmetic starts from.
func (d *demand) parameters(m *Model) string {
	c := m.Costs
	return rows(
		"parameter", "value",
		"---", "---",
		"TLS handshake, processor of a vault", millis(c.Handshake),
		"request that finds no change, processor of a vault", millis(c.Request),
		"the rest of a reveal, processor of a vault", millis(c.Reveal),
		"reading the state of a set, processor of the database", millis(c.Read),
		"audit event, the database's one writer", millis(c.Event),
		"memory of a vault for an agent", fmt.Sprintf("%.0f kB", d.AgentMemory/1e3),
		"audit event on the disk", about(d.EventBytes)+" bytes",
		"connections of a vault to its database", fmt.Sprint(d.Connections),
		"request, and answer with a set, with their headers", fmt.Sprintf("%.1f kB, %.1f kB", float64(d.Request)/1e3, float64(d.Answer)/1e3),
		"assumed: rotations that concern all agents, in a day", fmt.Sprint(d.Rotations),
		"assumed: days that audit events are kept", fmt.Sprint(daysKept),
		"assumed prices: processor and GB of memory for an hour, GB on a disk for a month", fmt.Sprintf("%g, %g, %g", d.Core, d.Gigabyte, d.Stored),
	)
}

// needs is the table of what the agents of a model need.
func (d *demand) needs(m *Model) string {
	agents, replicas, databases := float64(m.Agents), float64(m.Replicas()), float64(m.Databases())
	c := m.Costs
	steady := agents / longestWait.Seconds()
	memory := d.AgentMemory*agents/replicas + replicaBase
	events := agents * float64(d.Rotations)
	stored := events * daysKept * d.EventBytes / 1e9
	cores := replicas*float64(m.Cores) + databases*float64(m.DatabaseCores)
	gigabytes := replicas*math.Ceil(memory/1e9) + databases*databaseMemory
	hour := cores*d.Core + gigabytes*d.Gigabyte
	return rows(
		"need", "amount",
		"---", "---",
		"agents of a database", fmt.Sprintf("%s, on %d databases with %d processors and %.0f GB each", about(agents/databases), m.Databases(), m.DatabaseCores, databaseMemory),
		"vaults", fmt.Sprintf("%d, %d at each database, with %d processors each", m.Replicas(), m.ReplicasEach(), m.Cores),
		"memory of a vault", about(memory/1e6)+" MB",
		"connections of a database", fmt.Sprint(m.ReplicasEach()*d.Connections),
		"requests while nothing happens", fmt.Sprintf("%s per second: %.1f of %.0f processors of the vaults, %.1f of %.0f of the databases, %s MB per second of network",
			about(steady), steady*c.Request.Seconds(), replicas*float64(m.Cores), steady*c.Read.Seconds(), databases*float64(m.DatabaseCores), about(steady*float64(d.Request)/1e6)),
		"requests that the vaults can answer", about(m.Rate(c.Request))+" per second",
		"a rotation that concerns all agents", fmt.Sprintf("%.1f s of all processors of the vaults, %.0f s of each database's writer, %.1f GB of network",
			agents*(c.Reveal+c.Request).Seconds()/(replicas*float64(m.Cores)), agents/databases*c.Event.Seconds(), agents*float64(d.Request+d.Answer)/1e9),
		"audit events of these rotations", fmt.Sprintf("%s in a day, %.0f per second on average; %s GB for %d days", about(events), events/secondsADay, about(stored), daysKept),
		"money, with the assumed prices", fmt.Sprintf("%s in a month, %.4f for an agent", about(hour*hoursOfMonth+stored*d.Stored), (hour*hoursOfMonth+stored*d.Stored)/agents),
	)
}

// limitsOf is the table of what limits the agents of one database, the first limit first.
func (d *demand) limitsOf(m *Model) string {
	c := m.Costs
	server := float64(defaultServer / d.Connections * m.PerReplica)
	writer := longestRecovery.Seconds() / c.Event.Seconds()
	reads := float64(m.DatabaseCores) * longestWait.Seconds() / c.Read.Seconds()
	return rows(
		"limit", "agents of a database",
		"---", "---",
		fmt.Sprintf("PostgreSQL accepts %d connections by default: raise `max_connections`", defaultServer), about(server),
		fmt.Sprintf("a rotation that concerns all takes the writer %.0f minutes", longestRecovery.Minutes()), about(writer),
		"requests while nothing happens take all processors of the database", about(reads),
	)
}

// outcome is the table of what a simulation has shown.
func outcome(all []Recovery) string {
	pairs := []string{"fault", "most requests in a second | all agents current after | most requests in a second, later", "---", "--- | --- | ---"}
	for _, v := range all {
		pairs = append(pairs, v.Name, fmt.Sprintf("%s | %.0f s | %s", grouped(v.Peak), v.Current.Seconds(), grouped(v.Later)))
	}
	return rows(pairs...)
}
