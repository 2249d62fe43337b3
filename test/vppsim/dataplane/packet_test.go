package dataplane

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// build makes a packet with right lengths and checksums.
func build(tb testing.TB, ls ...gopacket.SerializableLayer) []byte {
	tb.Helper()
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, ls...); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// parse decodes a frame and checks the checksums in it by making it anew.
func parse(tb testing.TB, frame []byte) gopacket.Packet {
	tb.Helper()
	pkt := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	if e := pkt.ErrorLayer(); e != nil {
		tb.Fatalf("malformed packet: %v", e.Error())
	}
	if _, mismatches := pkt.VerifyChecksums(); len(mismatches) > 0 {
		tb.Fatalf("wrong checksums: %v", mismatches)
	}
	return pkt
}

func layer[L gopacket.Layer](tb testing.TB, frame []byte) L {
	tb.Helper()
	for _, l := range parse(tb, frame).Layers() {
		if got, ok := l.(L); ok {
			return got
		}
	}
	var none L
	tb.Fatalf("no %T in % x", none, frame)
	return none
}

// router has 10.0.1.1 and fd01::1 on interface 1, 10.0.2.1 and fd02::1 on
// interface 2, and static neighbours .2 on both.
func router(t *testing.T) *node {
	t.Helper()
	r := newNode(t)
	for i, nets := range [][2]string{{"10.0.1.", "fd01::"}, {"10.0.2.", "fd02::"}} {
		idx := uint32(i + 1)
		r.AddEthernet(idx, hw(byte(idx)), r.tx(idx, nil, 0))
		r.up(idx)
		r.AddAddress(idx, prefix(nets[0]+"1/24"))
		r.AddAddress(idx, prefix(nets[1]+"1/64"))
		r.SetNeighbor(idx, addr(nets[0]+"2"), hw(byte(10+idx)))
		r.SetNeighbor(idx, addr(nets[1]+"2"), hw(byte(10+idx)))
	}
	return r
}

func ether(kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: hw(11), DstMAC: hw(1), EthernetType: kind}
}

// udp4 is a packet from 10.0.1.2.
func udp4(tb testing.TB, dst string, ttl uint8, flags layers.IPv4Flag, size int) []byte {
	tb.Helper()
	ip := &layers.IPv4{
		Version: 4, TTL: ttl, Flags: flags, Protocol: layers.IPProtocolUDP,
		SrcIP: net.ParseIP("10.0.1.2"), DstIP: net.ParseIP(dst),
	}
	u := &layers.UDP{SrcPort: 40000, DstPort: 40001}
	if err := u.SetNetworkLayerForChecksum(ip); err != nil {
		tb.Fatal(err)
	}
	return build(tb, ether(layers.EthernetTypeIPv4), ip, u, gopacket.Payload(make([]byte, size)))
}

func udp6(tb testing.TB, dst string, hops uint8, size int) []byte {
	tb.Helper()
	ip := &layers.IPv6{
		Version: 6, HopLimit: hops, NextHeader: layers.IPProtocolUDP,
		SrcIP: net.ParseIP("fd01::2"), DstIP: net.ParseIP(dst),
	}
	u := &layers.UDP{SrcPort: 40000, DstPort: 40001}
	if err := u.SetNetworkLayerForChecksum(ip); err != nil {
		tb.Fatal(err)
	}
	return build(tb, ether(layers.EthernetTypeIPv6), ip, u, gopacket.Payload(make([]byte, size)))
}

func TestForwardingDecrementsTTL(t *testing.T) {
	r := router(t)
	r.Input(1, udp4(t, "10.0.2.2", 17, 0, 10))
	r.Input(1, udp6(t, "fd02::2", 17, 10))
	if len(r.sent(2)) != 2 {
		t.Fatalf("%d packets forwarded, want 2", len(r.sent(2)))
	}
	if got := layer[*layers.IPv4](t, r.sent(2)[0]).TTL; got != 16 {
		t.Errorf("TTL %d", got)
	}
	if got := layer[*layers.IPv6](t, r.sent(2)[1]).HopLimit; got != 16 {
		t.Errorf("hop limit %d", got)
	}
	e := layer[*layers.Ethernet](t, r.sent(2)[0])
	if e.SrcMAC.String() != hw(2).String() || e.DstMAC.String() != hw(12).String() {
		t.Errorf("from %s to %s", e.SrcMAC, e.DstMAC)
	}
	if len(r.sent(1)) != 0 {
		t.Error("something went back")
	}
}

func TestICMPErrors(t *testing.T) {
	tests := []struct {
		name   string
		packet []byte
		reason string
		at     uint32
		want   string // type and code, "" for no answer
	}{
		{"TTL 1", udp4(t, "10.0.2.2", 1, 0, 10), "TTL expired", 1, "TimeExceeded(TTLExceeded)"},
		{"hop limit 1", udp6(t, "fd02::2", 1, 10), "TTL expired", 1, "TimeExceeded(HopLimitExceeded)"},
		{"UDP to us", udp4(t, "10.0.1.1", 9, 0, 10), "UDP port not taken", 1, "DestinationUnreachable(Port)"},
		{"UDP to us, IPv6", udp6(t, "fd02::1", 9, 10), "UDP port not taken", 1, "DestinationUnreachable(PortUnreachable)"},
		{"too big, do not fragment", udp4(t, "10.0.2.2", 9, layers.IPv4DontFragment, 1000), "MTU exceeded", 2, "DestinationUnreachable(FragmentationNeeded)"},
		{"too big", udp4(t, "10.0.2.2", 9, 0, 1000), "MTU exceeded", 2, ""},
		{"too big, IPv6", udp6(t, "fd02::2", 9, 1400), "MTU exceeded", 2, "PacketTooBig"},
		{"no route", udp4(t, "10.0.3.2", 9, 0, 10), "no route", 1, ""},
		{"broadcast address of a link", udp4(t, "10.0.2.255", 9, 0, 10), "no route", 1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := router(t)
			r.SetMTU(2, 600)
			if tt.want == "PacketTooBig" {
				r.SetMTU(2, 1280)
			}
			r.Input(1, tt.packet)
			r.wantDrops(tt.at, tt.reason)
			back := r.sent(1)
			if tt.want == "" {
				if len(back) != 0 {
					t.Errorf("answered: %v", parse(t, back[0]))
				}
				return
			}
			if len(back) != 1 {
				t.Fatalf("%d answers", len(back))
			}
			var got string
			if v4 := parse(t, back[0]).Layer(layers.LayerTypeICMPv4); v4 != nil {
				got = v4.(*layers.ICMPv4).TypeCode.String()
			} else {
				got = layer[*layers.ICMPv6](t, back[0]).TypeCode.String()
			}
			if got != tt.want && got != tt.want+"()" {
				t.Errorf("answer %s, want %s", got, tt.want)
			}
		})
	}
}

func TestMTUTold(t *testing.T) {
	r := router(t)
	r.SetMTU(2, 600)
	r.Input(1, udp4(t, "10.0.2.2", 9, layers.IPv4DontFragment, 572))
	if got := len(r.sent(2)); got != 1 {
		t.Fatalf("a packet of exactly the MTU: %d forwarded", got)
	}
	r.Input(1, udp4(t, "10.0.2.2", 9, layers.IPv4DontFragment, 573))
	icmp := layer[*layers.ICMPv4](t, r.sent(1)[0])
	if icmp.Seq != 600 {
		t.Errorf("MTU %d told, want 600", icmp.Seq)
	}
}

func TestARP(t *testing.T) {
	arp := func(op uint16, mac byte, sender, target string) []byte {
		return build(t, &layers.Ethernet{SrcMAC: hw(11), DstMAC: net.HardwareAddr(broadcastMAC[:]), EthernetType: layers.EthernetTypeARP},
			&layers.ARP{
				AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
				Operation: op, SourceHwAddress: hw(mac), SourceProtAddress: net.ParseIP(sender).To4(),
				DstHwAddress: make([]byte, 6), DstProtAddress: net.ParseIP(target).To4(),
			})
	}
	tests := []struct {
		name    string
		packet  []byte
		answer  bool
		learned string // address of 10.0.1.7 afterwards
		drop    string
	}{
		{"request for us", arp(1, 11, "10.0.1.7", "10.0.1.1"), true, hw(11).String(), ""},
		{"reply to us", arp(2, 11, "10.0.1.7", "10.0.1.1"), false, hw(11).String(), ""},
		{"request for another", arp(1, 11, "10.0.1.7", "10.0.1.9"), false, "", "ARP target not ours"},
		{"request for the other link's address", arp(1, 11, "10.0.1.7", "10.0.2.1"), false, "", "ARP unnumbered mismatch"},
		{"request from another net", arp(1, 11, "10.0.9.7", "10.0.1.1"), false, "", "ARP source not attached"},
		{"request from our address", arp(1, 11, "10.0.1.1", "10.0.1.1"), false, "", "ARP source is ours"},
		{"another Ethernet sender", arp(1, 12, "10.0.1.7", "10.0.1.1"), false, "", "ARP and Ethernet address differ"},
		{"gratuitous of a stranger", arp(1, 11, "10.0.1.7", "10.0.1.7"), false, "", "ARP target not ours"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := router(t)
			r.Input(1, tt.packet)
			if got := r.Neighbors(1)[addr("10.0.1.7")].String(); got != tt.learned {
				t.Errorf("learned %q, want %q", got, tt.learned)
			}
			if tt.drop != "" {
				r.wantDrops(1, tt.drop)
			}
			if len(r.sent(1)) > 0 != tt.answer {
				t.Fatalf("%d answers", len(r.sent(1)))
			}
			if tt.answer {
				a := layer[*layers.ARP](t, r.sent(1)[0])
				if a.Operation != 2 || net.HardwareAddr(a.SourceHwAddress).String() != hw(1).String() ||
					net.IP(a.SourceProtAddress).String() != "10.0.1.1" || net.IP(a.DstProtAddress).String() != "10.0.1.7" {
					t.Errorf("answer %+v", a)
				}
			}
		})
	}
	r := router(t)
	r.Input(1, arp(1, 11, "10.0.1.7", "10.0.1.1"))
	moved := arp(1, 13, "10.0.1.7", "10.0.1.7")
	copy(moved[6:], hw(13))
	r.Input(1, moved)
	if got := r.Neighbors(1)[addr("10.0.1.7")].String(); got != hw(13).String() {
		t.Errorf("gratuitous ARP of a known host: %s", got)
	}
}

func TestNeighborSolicitation(t *testing.T) {
	r := router(t)
	solicit := func(src, group, target string, hops uint8) []byte {
		ip := &layers.IPv6{Version: 6, HopLimit: hops, NextHeader: layers.IPProtocolICMPv6, SrcIP: net.ParseIP(src), DstIP: net.ParseIP(group)}
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}
		if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		ns := &layers.ICMPv6NeighborSolicitation{
			TargetAddress: net.ParseIP(target),
			Options:       layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: hw(11)}},
		}
		mac := groupMAC(addr(group))
		e := &layers.Ethernet{SrcMAC: hw(11), DstMAC: mac[:], EthernetType: layers.EthernetTypeIPv6}
		return build(t, e, ip, icmp, ns)
	}
	r.Input(1, solicit("fd01::7", "ff02::1:ff00:1", "fd01::1", 255))
	na := layer[*layers.ICMPv6NeighborAdvertisement](t, r.sent(1)[0])
	if na.TargetAddress.String() != "fd01::1" || !na.Solicited() || !na.Override() ||
		len(na.Options) != 1 || net.HardwareAddr(na.Options[0].Data).String() != hw(1).String() {
		t.Errorf("advertisement %+v", na)
	}
	if got := r.Neighbors(1)[addr("fd01::7")].String(); got != hw(11).String() {
		t.Errorf("learned %q", got)
	}
	r.Input(1, solicit("::", "ff02::1:ff00:1", "fd01::1", 255))
	if ip := layer[*layers.IPv6](t, r.sent(1)[1]); ip.DstIP.String() != "ff02::1" {
		t.Errorf("answer to an unspecified source went to %s", ip.DstIP)
	}
	for _, bad := range []struct {
		packet []byte
		drop   string
	}{
		{solicit("fd01::8", "ff02::1:ff00:1", "fd01::1", 254), "ND from afar"},
		{solicit("fd09::8", "ff02::1:ff00:1", "fd01::1", 255), "ND source not on link"},
		{solicit("fd01::8", "ff02::1:ff00:9", "fd01::9", 255), "ND target not ours"},
	} {
		r.Input(1, bad.packet)
		r.wantDrops(1, bad.drop)
	}
	if got := len(r.sent(1)); got != 2 {
		t.Errorf("%d answers, want 2", got)
	}
}

func TestPingEnds(t *testing.T) {
	r := router(t)
	if sent, _ := r.Ping(t.Context(), addr("10.9.9.9"), NoInterface, 3, time.Hour); sent != 0 {
		t.Errorf("%d sent without a route", sent)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if sent, replies := r.Ping(ctx, addr("10.0.1.2"), NoInterface, 3, time.Hour); sent != 1 || replies != 0 {
		t.Errorf("cancelled: %d sent, %d replies", sent, replies)
	}
	if sent, replies := r.Ping(t.Context(), addr("fd01::1"), NoInterface, 3, time.Hour); sent != 3 || replies != 3 {
		t.Errorf("ourselves: %d sent, %d replies", sent, replies)
	}
	time.AfterFunc(20*time.Millisecond, r.Close)
	if _, replies := r.Ping(t.Context(), addr("10.0.1.2"), NoInterface, 1, time.Hour); replies != 0 {
		t.Error("a reply from nobody")
	}
}

// FuzzInput gives any packet to a plane with an interface of each kind. All
// that comes out must be a packet, with right checksums.
func FuzzInput(f *testing.F) {
	f.Add(uint8(1), udp4(f, "10.0.2.2", 2, 0, 10))
	f.Add(uint8(1), udp6(f, "fd02::1", 2, 10))
	f.Add(uint8(1), udp4(f, "10.0.1.1", 1, 0, 10))
	f.Add(uint8(2), pushTag(udp4(f, "10.0.1.1", 1, 0, 10), 10))
	f.Add(uint8(3), udp4(f, "10.0.2.2", 2, 0, 10)[etherHeader:])
	f.Add(uint8(3), udp6(f, "fd02::2", 1, 10)[etherHeader:])
	f.Fuzz(func(t *testing.T, idx uint8, pkt []byte) {
		p := New()
		defer p.Close()
		var frames, bare [][]byte
		p.AddEthernet(1, hw(1), func(b []byte) { frames = append(frames, b) })
		p.AddEthernet(2, hw(2), func(b []byte) { frames = append(frames, b) })
		p.AddIP(3, func(b []byte) { bare = append(bare, b) })
		p.AddSubInterface(4, 2, 10)
		for i := uint32(1); i <= 4; i++ {
			p.SetAdminUp(i, true)
			p.SetLinkUp(i, true)
		}
		p.AddAddress(1, prefix("10.0.1.1/24"))
		p.AddAddress(1, prefix("fd01::1/64"))
		p.AddAddress(4, prefix("10.0.2.1/24"))
		p.AddAddress(4, prefix("fd02::1/64"))
		p.AddAddress(3, prefix("10.0.3.1/24"))
		p.AddAddress(3, prefix("fd03::1/64"))
		p.SetBridge(2, 1, 0)
		p.Input(uint32(idx%5), pkt)
		for _, b := range frames {
			if len(b) < etherHeader {
				t.Fatalf("short frame % x", b)
			}
		}
		for _, b := range bare {
			_, bad4 := parse4(b)
			_, bad6 := parse6(b)
			if bad4 != "" && bad6 != "" {
				t.Fatalf("neither IPv4 nor IPv6: % x", b)
			}
		}
	})
}
