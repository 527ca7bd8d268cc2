package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

// channel is the SQL of the announcements' channel: channels belong to a database, and vaults to a schema.
const channel = `'miosa_vault_' || to_hex(hashtextextended(current_schema(), 0))`

// heartbeat is how often a listening connection announces something to itself, and how long it waits until it hears that. So a
// connection that the network, the server or a pooler has lost silently is replaced after twice that time.
var heartbeat = 5 * time.Second

var errSilent = errors.New("the server passes on no announcements")

// Announce implements database.Announcer.
func (*db) Announce(tx database.Tx, text string) error {
	return tx.Defer(`SELECT pg_notify(`+channel+`, $1)`, text)
}

// Listen implements database.Announcer, on a connection of its own.
func (d *db) Listen(ctx context.Context, l database.Listener) {
	retry := delay.NewBackoff(100*time.Millisecond, 2*time.Second)
	for {
		err := d.listen(ctx, l, retry.Reset)
		if ctx.Err() != nil {
			return
		}
		l.Missed(err)
		if delay.Sleep(ctx, retry.NextRandom(0)) != nil {
			return
		}
	}
}

// listen is Listen until the connection fails. It calls alive when it receives a heartbeat.
func (d *db) listen(ctx context.Context, l database.Listener, alive func()) error {
	own := "miosa_vault_heartbeat_" + rand.Text() // the connection's own channel
	conn, err := startListening(ctx, d.conf, own)
	if err != nil {
		return err
	}
	defer closeSoon(ctx, conn)
	l.Missed(nil)
	awaiting := false // a heartbeat
	for deadline := time.Now(); ; {
		wait, cancel := context.WithDeadline(ctx, deadline)
		heard, err := conn.WaitForNotification(wait)
		cancel()
		switch {
		case heard != nil && heard.Channel == own:
			awaiting, deadline = false, time.Now().Add(heartbeat)
			alive()
			l.Alive()
		case heard != nil:
			l.Heard(heard.Payload)
		case ctx.Err() != nil || !pgconn.Timeout(err):
			return err
		case awaiting:
			return errSilent
		default:
			awaiting, deadline = true, time.Now().Add(heartbeat)
			if err := sendHeartbeat(ctx, conn, own); err != nil {
				return err
			}
		}
	}
}

// startListening returns a new connection that gets the announcements, and those of its own channel.
func startListening(ctx context.Context, conf *pgx.ConnConfig, own string) (*pgx.Conn, error) {
	conf = conf.Copy()
	conf.RuntimeParams["application_name"] += " listening"
	conn, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	var name string
	if err = conn.QueryRow(ctx, `SELECT `+channel).Scan(&name); err == nil {
		_, err = conn.Exec(ctx, `LISTEN `+pgx.Identifier{name}.Sanitize()+`; LISTEN `+pgx.Identifier{own}.Sanitize())
	}
	if err != nil {
		closeSoon(ctx, conn)
		return nil, err
	}
	return conn, nil
}

// sendHeartbeat makes a connection announce something to itself, on its own channel.
func sendHeartbeat(ctx context.Context, conn *pgx.Conn, own string) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	_, err := conn.Exec(ctx, `SELECT pg_notify($1, '')`, own)
	return err
}

// closeSoon closes a connection within a second, even if ctx has ended.
func closeSoon(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
