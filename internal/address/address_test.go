package address_test

import (
	"net/netip"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/address"
)

func TestPublic(t *testing.T) {
	for _, text := range []string{
		"127.0.0.1", "127.8.8.8", "::1", "::127.0.0.1", "::10.0.0.1", "::ffff:127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1",
		"64:ff9b:1::1", "2002:7f00:1::1", "2002:a00:1::1", "2001:0:7f00:1::1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1",
		"fe80::1", "fe80::1%eth0", "fec0::1", "0.0.0.0", "0.1.2.3", "198.18.0.1", "::", "255.255.255.255", "224.0.0.1", "ff02::1", "192.0.2.1", "2001:db8::1",
		// Metadata of AWS, Google, Azure, Alibaba and Oracle.
		"169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "fd20:ce::254", "168.63.129.16", "100.100.100.200", "192.0.0.192",
	} {
		if address.Public(netip.MustParseAddr(text)) {
			t.Errorf("%s is public", text)
		}
	}
	for _, text := range []string{"93.184.215.14", "::ffff:93.184.215.14", "64:ff9b::93.184.215.14", "2606:2800:220:1::1", "168.63.129.17"} {
		if !address.Public(netip.MustParseAddr(text)) {
			t.Errorf("%s isn't public", text)
		}
	}
}

func TestLink(t *testing.T) {
	for text, want := range map[string]bool{
		"169.254.169.254": true, "::ffff:169.254.169.254": true, "64:ff9b::a9fe:a9fe": true, "fe80::1%eth0": true, "168.63.129.16": true,
		"fd00:ec2::254": true, "fd20:ce::254": true, "100.100.100.200": true, "192.0.0.192": true,
		"127.0.0.1": false, "10.0.0.1": false, "fd00::1": false, "93.184.215.14": false,
	} {
		if got := address.Link(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %t, want %t", text, got, want)
		}
	}
}

func TestOwn(t *testing.T) {
	own, err := address.Own()
	if err != nil || !own[netip.MustParseAddr("127.0.0.1")] {
		t.Errorf("got %v, %v, want 127.0.0.1 among them", own, err)
	}
}
