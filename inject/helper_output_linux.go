package inject

import (
	"fmt"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"

	"github.com/Miosa-osa/miosa-env/inject/mask"
)

// outputOrder is what the output helper is to pass on. Its descriptors come as pairs: where a stream is read from, and
// where it is written to. More that come are only to be held: they end the helpers that lead the sessions of ptys.
type outputOrder struct {
	Masks   [][]maskedName // each used by one stream or more
	Streams []outputStream
}

type maskedName struct {
	Name  string
	Value []byte
}

// outputStream is a relay that was parked.
type outputStream struct {
	Mask  int // place in Masks
	Eager bool
	// Session: from a pty that makes CRLF of line ends
	Session bool
	State   mask.State
	Rest    []byte // masked already, and not written yet
}

// startOutput starts the output helper for parked relays, and returns when it has taken over.
func startOutput(relays []*relay) error {
	var order outputOrder
	var fds, hosts []int
	masks := map[*mask.Masker]int{}
	for _, r := range relays {
		at, ok := masks[r.masker]
		if !ok {
			at = len(order.Masks)
			masks[r.masker] = at
			order.Masks = append(order.Masks, revealed(r.masker.Bound()))
		}
		order.Streams = append(order.Streams, outputStream{Mask: at, Eager: r.eager, Session: r.host != nil, State: r.to.State(), Rest: r.out.rest})
		fds = append(fds, r.from, r.out.fd)
		if r.host != nil {
			hosts = append(hosts, r.host.conn)
		}
	}
	_, conn, err := startHelper(outputHelper, -1, &syscall.SysProcAttr{Setsid: true})
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(conn) }()
	err = send(conn, order, append(fds, hosts...)...)
	for _, names := range order.Masks {
		for _, m := range names {
			clear(m.Value)
		}
	}
	if err != nil {
		return err
	}
	_, err = receive(conn, new(struct{}))
	return err
}

func revealed(bound []api.Bound) []maskedName {
	var all []maskedName
	for _, b := range bound {
		all = append(all, maskedName{b.ExposeAsEnv, []byte(b.Value.Reveal())})
	}
	return all
}

// outputHelperMain passes on what the order says until the last writer has closed its end. Nobody is left to report
// an error to: a stream that can't be written to is closed, so its writers get the error.
func outputHelperMain() error {
	if err := beHelper(); err != nil {
		return err
	}
	outlast()
	if err := unix.CloseRange(3, ^uint(0), 0); err != nil {
		return fmt.Errorf("close what isn't ours: %w", err)
	}
	var order outputOrder
	fds, err := receive(0, &order)
	if err != nil {
		return err
	}
	masks := make([]*mask.Masker, len(order.Masks))
	for i, names := range order.Masks {
		var bound []api.Bound
		for _, m := range names {
			bound = append(bound, api.Bound{Label: api.Label{ExposeAsEnv: m.Name}, Value: api.NewValue(m.Value)})
		}
		masks[i], _ = mask.New(bound)
	}
	if len(fds) < 2*len(order.Streams) {
		return fmt.Errorf("%d descriptors for %d streams", len(fds), len(order.Streams))
	}
	var relays []*relay
	for i, s := range order.Streams {
		r, err := newRelay(fds[2*i], fds[2*i+1], masks[s.Mask])
		if err != nil {
			return err
		}
		r.eager, r.out.rest = s.Eager, s.Rest
		if s.Session {
			r.out.passing = new(atomic.Bool)
		}
		r.to = r.masker.Resume(r.out, s.State)
		relays = append(relays, r)
	}
	if err := send(0, struct{}{}); err != nil {
		return err
	}
	_ = unix.Close(0)
	for _, r := range relays {
		go func() {
			r.run(func(error) {})
			_ = unix.Close(r.out.fd) // whoever reads it waits for its end
		}()
	}
	for _, r := range relays {
		<-r.stopped
	}
	return nil
}
