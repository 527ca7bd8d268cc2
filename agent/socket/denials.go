package socket

import (
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent/peer"
)

const (
	denialInterval = time.Second
	maxDenialUsers = 1024 // user namespaces give one user many ids
)

// denials logs refused connections, at most one per user and denialInterval.
type denials struct {
	mu    sync.Mutex // guards users
	users map[uint32]denial
}

// denial is the state of one user.
type denial struct {
	logged     time.Time
	suppressed int // denials since logged
}

func (d *denials) log(log zerolog.Logger, p peer.Peer, reason string) {
	d.mu.Lock()
	last, known := d.users[p.UID]
	if d.users == nil || !known && len(d.users) >= maxDenialUsers {
		d.users = map[uint32]denial{}
	}
	now := time.Now()
	due := now.Sub(last.logged) >= denialInterval
	if due {
		d.users[p.UID] = denial{logged: now}
	} else {
		d.users[p.UID] = denial{last.logged, last.suppressed + 1}
	}
	d.mu.Unlock()
	if due {
		log.Warn().Uint32("uid", p.UID).Uint32("gid", p.GID).Int32("pid", p.PID).Str("reason", reason).Int("untold", last.suppressed).
			Msg("socket request refused")
	}
}
