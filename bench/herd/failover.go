package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/test/reveals"
)

const (
	replicas    = 3
	maxFailover = 3 * time.Second // until the agents of a replica that was killed wait at others
)

// failover measures how soon all agents wait again after one of three vaults on a database was killed.
func (c *config) failover(ctx context.Context, d *data, binary, transport string, out io.Writer) (missed []string, err error) {
	conf := reveals.Config{Agents: d.agents, Spread: spread}
	if transport == "tls" {
		conf.TLS = d.trust
	}
	var vaults []*process
	for range replicas {
		p, err := c.startAnywhere(ctx, d, binary, transport)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, p.end(syscall.SIGKILL)) }()
		vaults, conf.Vaults = append(vaults, p), append(conf.Vaults, p.address)
	}
	group, err := reveals.New(conf)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { group.Run(running); close(ended) }()
	defer func() { stop(); <-ended }()
	if _, err := c.allWaitAt(ctx, vaults); err != nil {
		return nil, err
	}
	killed, err := vaults[0].figures(ctx)
	if err != nil {
		return nil, err
	}
	if err := vaults[0].cmd.Process.Kill(); err != nil {
		return nil, err
	}
	took, err := c.allWaitAt(ctx, vaults[1:])
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "  one of %d vaults killed: its %.0f agents wait at the others after %s\n\n", replicas, killed[waitingMetric], round(took))
	if took > maxFailover {
		missed = append(missed, fmt.Sprintf("%s over %s: agents wait at other vaults after %s, at most %s wanted", d.name, transport, took, maxFailover))
	}
	return missed, nil
}

// allWaitAt waits until all agents wait at some vaults, and returns how long that took.
func (c *config) allWaitAt(ctx context.Context, vaults []*process) (time.Duration, error) {
	for began := time.Now(); ; {
		waiting := 0
		for _, p := range vaults {
			all, err := p.figures(ctx)
			if err != nil {
				return 0, err
			}
			waiting += int(all[waitingMetric])
		}
		took := time.Since(began)
		switch {
		case waiting >= c.agents:
			return took, nil
		case took > patience:
			return 0, fmt.Errorf("only %d reveals wait after %s", waiting, patience)
		}
		if err := delay.Sleep(ctx, 20*time.Millisecond); err != nil {
			return 0, err
		}
	}
}
