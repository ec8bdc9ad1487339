"""What people look at after a simulation: pictures, and a page with figures, pictures and decisions."""
