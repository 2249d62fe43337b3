package main

import "context"

// hold brings the node to the number of attachments that it must hold, all of
// them ready, and as wanted in VPP.
func (s *suite) hold(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*patience)
	defer cancel()
	if err := s.node.Fill(ctx, s.options.node, s.held); err != nil {
		return err
	}
	if err := s.node.WaitAttachments(ctx, s.held); err != nil {
		return err
	}
	if err := s.inSync(ctx); err != nil {
		return err
	}
	s.table.add(figure{name: "held on one node", ours: float64(s.held), bound: float64(s.held), atLeast: true})
	return nil
}
