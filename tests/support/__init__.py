"""What tests share: servers with faults, drawn images, and jobs made by hand."""
