package program

import "context"

// InBackground runs work in a goroutine and returns when work returns or ctx ends: opening a named pipe can block forever, and no
// context ends that. After an error the caller must not read what work writes.
func InBackground(ctx context.Context, work func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
