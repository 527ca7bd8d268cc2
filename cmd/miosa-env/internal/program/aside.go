package program

import "context"

// Aside runs work in a goroutine and returns when it does or ctx ends, whichever is first: opening a
// named pipe can block for ever, and no context ends that. Nothing that work sets may be looked at after
// an error.
func Aside(ctx context.Context, work func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
