package supervise

import (
	"fmt"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/mask"
)

// outputHelper is the argument of the helper that continues relays. ps shows it.
const outputHelper = "(output)"

// outputOrder tells the output helper which relays to continue. It is sent with pairs of descriptors to read from and to
// write to, followed by descriptors to keep open: closing them would end the helpers that lead the sessions of ptys.
type outputOrder struct {
	Masks   [][]maskedValue // each used by at least one stream
	Streams []outputStream
}

type maskedValue struct {
	Name  string
	Value []byte
}

// outputStream is a parked relay.
type outputStream struct {
	Mask        int // index in Masks
	Interactive bool
	Session     bool // it reads from a pty that turns LF into CRLF
	State       mask.State
	Rest        []byte // masked, not yet written
}

// startOutput starts the output helper for parked relays, and returns when it has taken over.
func startOutput(relays []*relay) error {
	var order outputOrder
	var fds, sessions []int
	masks := map[*mask.Masker]int{}
	wipe := func() {
		for _, values := range order.Masks {
			for _, v := range values {
				clear(v.Value)
			}
		}
	}
	defer wipe()
	for _, r := range relays {
		at, ok := masks[r.masker]
		if !ok {
			at = len(order.Masks)
			masks[r.masker] = at
			var values []maskedValue
			for _, b := range r.masker.Bound() {
				values = append(values, maskedValue{b.ExposeAsEnv, []byte(b.Value.Reveal())})
			}
			order.Masks = append(order.Masks, values)
		}
		order.Streams = append(order.Streams, outputStream{Mask: at, Interactive: r.interactive, Session: r.session != nil, State: r.to.State(), Rest: r.out.rest})
		fds = append(fds, r.from, r.out.fd)
		if r.session == nil {
			continue
		}
		if conn := r.session.keep(); conn >= 0 {
			sessions = append(sessions, conn)
		}
	}
	_, conn, err := startHelper(outputHelper, -1, syscall.SysProcAttr{Setsid: true})
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(conn) }()
	err = send(conn, order, append(fds, sessions...)...)
	wipe() // before the wait for the helper
	if err != nil {
		return err
	}
	_, err = receive(conn, new(struct{}))
	return err
}

// outputHelperMain runs relays until their last writers have closed their ends. There is nobody to report errors to: if a
// stream can't be written to, its relay closes its input, so that the writers get the error.
func outputHelperMain() error {
	if err := becomeHelper(); err != nil {
		return err
	}
	outlast()
	if err := unix.CloseRange(3, ^uint(0), 0); err != nil {
		return fmt.Errorf("close inherited files: %w", err)
	}
	var order outputOrder
	fds, err := receive(0, &order)
	if err != nil {
		return err
	}
	masks := make([]*mask.Masker, len(order.Masks))
	for i, values := range order.Masks {
		var bound []api.Bound
		for _, v := range values {
			bound = append(bound, api.Bound{Label: api.Label{ExposeAsEnv: v.Name}, Value: api.NewValue(v.Value)})
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
		r.interactive, r.out.rest = s.Interactive, s.Rest
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
			_ = unix.Close(r.out.fd) // its reader waits for the end
		}()
	}
	for _, r := range relays {
		<-r.stopped
	}
	return nil
}
