package peer_test

import (
	"strings"
	"testing"

	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/google/go-cmp/cmp"
)

func TestUsersAndGroups(t *testing.T) {
	uids, err := peer.Users([]string{"root", "1234"})
	if diff := cmp.Diff(uids, []uint32{0, 1234}); err != nil || diff != "" {
		t.Errorf("error %v; users (-got +want):\n%s", err, diff)
	}
	gids, err := peer.Groups([]string{"root", "0", "4294967295"})
	if diff := cmp.Diff(gids, []uint32{0, 0, 4294967295}); err != nil || diff != "" {
		t.Errorf("error %v; groups (-got +want):\n%s", err, diff)
	}
	if _, err = peer.Users([]string{"no-such-user", "root"}); err == nil || err.Error() != `user "no-such-user" isn't known on this machine` {
		t.Errorf("error %v", err)
	}
	_, err = peer.Groups([]string{"no-such-group", "-1", "4294967296"})
	for _, want := range []string{`group "no-such-group"`, `group "-1"`, `group "4294967296"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v doesn't name %s", err, want)
		}
	}
	for _, look := range []func([]string) ([]uint32, error){peer.Users, peer.Groups} {
		if _, err = look([]string{"65534"}); err == nil || !strings.Contains(err.Error(), `"65534" can't be allowed`) {
			t.Errorf("error %v", err)
		}
	}
}
